"""Image generators: one interface, one file a family."""
