"""Our simulator beside `l2f` and beside a plain one in NumPy: the same transitions and flights in all of them."""
