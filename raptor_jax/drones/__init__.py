"""What a drone is: parameters, files, sampling, tasks."""
