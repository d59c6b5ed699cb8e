"""Natural Earth's coasts, land, borders and countries, packed small: see README.md beside the files."""
