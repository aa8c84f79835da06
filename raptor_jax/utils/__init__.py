"""General helpers without knowledge of drones: files, trees of arrays, the console, the machine."""
