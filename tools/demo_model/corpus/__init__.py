"""The made-up conversations that the demo model is trained on, deterministic by seed."""
