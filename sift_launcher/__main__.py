"""`python -m sift_launcher` is `sift-launch`."""

from sift_launcher.cli import main

main()
