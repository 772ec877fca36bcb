"""The job types, one file each, and the code they share."""
