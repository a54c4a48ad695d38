"""Plain values and pure functions. They know nothing of llama.cpp, disks or terminals; everybody may import them."""
