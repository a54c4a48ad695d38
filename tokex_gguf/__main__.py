"""`python -m tokex_gguf` is the same program as `tokex-gguf`."""

import sys

from tokex_gguf.cli import main

sys.exit(main())
