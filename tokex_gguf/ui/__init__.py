"""The screen: what is drawn (`view`, `wrap`, `theme`) and the application that draws it (`app`)."""
