/* A disk that says "synced" and does nothing: the next power cut takes what was acknowledged. Only to show that a run finds it. */
int fsync(int file) { (void)file; return 0; }
int fdatasync(int file) { (void)file; return 0; }
