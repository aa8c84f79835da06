"""What a run, a checkpoint or a file of ours holds: content as JSON, a drone's sheet, and text to read."""
