"""Many pictures: listed as a stream, judged on all cores or on a Ray cluster, written so that a crash loses nothing."""
