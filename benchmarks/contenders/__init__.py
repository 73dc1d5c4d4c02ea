"""What `compare.py` compares: each module does one work in a process of its own and prints one line of JSON."""
