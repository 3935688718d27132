"""Key services behind one interface: how a key is named, how it is opened, what it can do."""
