"""What any part may use and knows nothing of drones: files, trees of arrays, the console, the machine."""
