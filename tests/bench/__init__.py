"""Timings, run by hand; tests never assert a speed."""
