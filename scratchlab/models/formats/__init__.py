"""Models in the formats of other programs: a file a format, and ``exporting`` that chooses."""
