"""Care of the books: backups, restores, checks and repairs."""
