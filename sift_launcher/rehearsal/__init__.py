"""AWS played on this machine: moto's APIs and a SageMaker that really runs its training jobs.

The cloud path runs against it unchanged; what it costs is time alone. Nothing here is imported
before a rehearsal is asked for.
"""
