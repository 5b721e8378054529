"""Faults: a book is run and hurt, and the next run must give the undisturbed numbers or refuse in plain words."""
