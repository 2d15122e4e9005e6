"""Files, folders and the hub to raw text, cells and images: every reader of user files."""
