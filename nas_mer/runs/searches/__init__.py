"""Search runs: what was asked for, the searches themselves, and what they have found."""
