"""From recordings as their databases deliver them to flow maps."""
