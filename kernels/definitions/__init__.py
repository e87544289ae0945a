"""What each kernel means, in NumPy; slow, short and the reference of every test."""
