"""Object storage: folders, S3, Google Cloud Storage, Azure and web servers behind one small interface."""
