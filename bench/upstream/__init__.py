"""What the client towards engines costs by itself."""
