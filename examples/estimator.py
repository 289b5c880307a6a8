"""Train a script as a sifted job from Python, as in a notebook: cell by cell, on any instance.

The same lines run on this machine, in a rehearsal of SageMaker, and in SageMaker itself:

    python examples/estimator.py process
    python examples/estimator.py local
    eval "$(sift-launch rehearsal env)" && python examples/estimator.py ml.g5.xlarge
    python examples/estimator.py ml.g5.xlarge --role SageMakerRole
"""

# %% Where to run, and what to train. In a notebook, set the values by hand.
import argparse
from pathlib import Path

from sift_launcher import SiftPyTorch

EXAMPLES = Path(__file__).parent

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("instance_type", help="process, local, local_gpu, or such as ml.g5.xlarge")
parser.add_argument("--example", choices=("digits", "fashion_mnist"), default="digits")
parser.add_argument("--data", help="its channel `train`: a folder here, or s3://...")
parser.add_argument("--role", default="SageMakerRole", help="of a job in SageMaker")
parser.add_argument("--epochs", type=int, default=5)
parser.add_argument("--spot", action="store_true", help="on spot instances, with checkpoints")
parser.add_argument("--checkpoints", help="where a spot job keeps them: s3://...")
options = parser.parse_args()

# %% An estimator like the SDK's own, with one argument more.
spot = {
    "use_spot_instances": True,
    "max_run": 3600,
    "max_wait": 7200,
    "checkpoint_s3_uri": options.checkpoints,
}
estimator = SiftPyTorch(
    entry_point="train.py",
    source_dir=str(EXAMPLES / options.example),
    hyperparameters={"epochs": options.epochs},
    sift_config={"keep": 0.5},
    instance_type=options.instance_type,
    instance_count=1,
    role=options.role,
    base_job_name=options.example.replace("_", "-"),
    **(spot if options.spot else {}),
)

# %% Start it. A folder of this machine is uploaded once, wherever that is needed.
estimator.fit({"train": options.data} if options.data else None, wait=False)
job = estimator.latest_training_job
print(f"started {job.name}")

# %% Its log, until it has ended. From a terminal: sift-launch logs --follow NAME
estimator.logs()

# %% What became of it.
print(f"{job.name}: {job.describe()['TrainingJobStatus']}")
print(f"model: {estimator.model_data}")

# %% Another day, another notebook: all it takes is the name.
again = SiftPyTorch.attach(job.name)
print(f"sifted by {again.sift_config}")
