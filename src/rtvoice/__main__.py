"""``python -m rtvoice`` is the command ``rtvoice``."""

import sys

from rtvoice.cli import main

if __name__ == "__main__":
    sys.exit(main())
