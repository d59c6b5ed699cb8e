"""`python -m geoscope` is the command `geoscope`."""

from geoscope.cli import main

if __name__ == "__main__":
    main()
