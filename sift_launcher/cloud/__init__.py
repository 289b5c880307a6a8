"""SageMaker itself: what a job there depends on, and what is asked of it. Needs `[cloud]`."""
