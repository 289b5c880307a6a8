"""Training images: what one is made of, building it, pushing it, and what is in it."""
