"""Key services behind one interface."""
