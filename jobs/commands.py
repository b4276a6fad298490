"""All commands. `sod NAME …` and `python jobs/SCRIPT.py …` are the same."""

from jobs.command import Command

_LISTED = (
    Command(
        name="predict",
        script="predict",
        does="turn photos into saliency maps",
        config="pipeline.photos.config:PhotosConfig",
        examples=(
            ("photos --out masks", "A mask for every photo of a folder"),
            ("photos --out masks --recursive --overlay", "In subfolders too, with pictures to look at"),
            ("photos/a.jpg --out masks --cutout", "One photo, also on a transparent background"),
        ),
        common=(
            *("input_rgb_path", "output_dir", "recursive", "overlay", "cutout", "overwrite"),
            *("model", "device", "denoise_steps"),
        ),
        place=("PHOTOS", "input_rgb_path"),
        place_advice="give one photo, a folder, or a pattern in quotes: 'photos/*.jpg'",
        short=(("--out", "output_dir"),),
    ),
    Command(
        name="label",
        script="coco_pseudolabel",
        does="segment a collection of images, and make a release",
        config="pipeline.config:RunConfig",
        examples=(
            ("--images photos --out out/photos", "Your own photos, without annotations"),
            (
                "--images train2017.zip --annotations instances_train2017.json --out out/coco",
                "COCO, with its licences and sizes",
            ),
            ("--images photos --out out/photos --dry-run", "Write nothing; forecast hours and bytes"),
            ("--config run.toml", "Options from a file; --init prints one"),
        ),
        common=(
            *("images", "annotations", "out", "model", "engine"),
            *("ensemble_size", "denoise_steps", "version", "dry_run"),
        ),
        takes_file="config",
    ),
    Command(
        name="collect",
        script="collect",
        does="write the annotation JSON of images that have none",
        config="pipeline.collection.config:CollectConfig",
        examples=(
            ("--images photos --out photos.json", "Names, sizes and ids of all photos"),
            ("--images photos --metadata told.csv --out photos.json", "With the licences and authors of a table"),
        ),
        common=("images", "out", "metadata", "orientation"),
    ),
    Command(
        name="score",
        script="score_run",
        does="add scores to a run, such as those of a second model",
        config="jobs.score_run:Arguments",
        examples=(
            ("out/photos --pass flip", "How far do masks of mirrored photos differ?"),
            ("out/photos --pass embeddings", "Describe the photos: the next pass needs it"),
            ("out/photos --pass duplicates", "Find photos that show nearly the same"),
        ),
        common=("run", "kind", "config"),
        takes_file="config",
    ),
    Command(
        name="status",
        script="status",
        does="say how far a run is, and what happened in it",
        config="jobs.status:Arguments",
        examples=(
            ("out/photos", "How far is it? Does a session work on it? Who died?"),
            ("s3://bucket/runs/coco --json", "The same from a bucket, for programs"),
        ),
    ),
    Command(
        name="run verify",
        script="verify_run",
        does="check a run, and repair it",
        config="jobs.verify_run:Arguments",
        examples=(("out/photos", "Read every shard"), ("out/photos --repair", "Make damaged shards again")),
    ),
    Command(
        name="release build",
        script="publish_release",
        word="build",
        does="make another release of a run, without the model",
        config="jobs.publish_release:BuildConfig",
        examples=(("out/photos --version 1.1.0 --max-variance 0.01", "Accept only what the members agree on more"),),
        common=("run", "version", "previous", "policy", "passes", "dry_run"),
        takes_file="policy",
    ),
    Command(
        name="release verify",
        script="verify_release",
        does="check a release as a suspicious stranger would",
        config="jobs.verify_release:Arguments",
        examples=(
            ("out/photos/release/sod-benchmark-1.0.0", "Read every byte, and load it with its users' libraries"),
        ),
    ),
    Command(
        name="release sign",
        script="publish_release",
        word="sign",
        does="sign a release with an OpenSSH key",
        config="jobs.publish_release:SignConfig",
        examples=(("out/photos/release/sod-benchmark-1.0.0 --key ~/.ssh/id_ed25519", "Sign release and annexes"),),
    ),
    Command(
        name="release push",
        script="publish_release",
        word="push",
        does="publish a release to a folder, a bucket or the Hub",
        config="jobs.publish_release:PushConfig",
        examples=(
            ("out/photos/release/sod-benchmark-1.0.0 hf://datasets/ORG/NAME --dry-run", "List what would be sent"),
            ("out/photos/release/sod-benchmark-1.0.0 s3://bucket/releases", "Publish to a bucket"),
        ),
    ),
    Command(
        name="release export",
        script="publish_release",
        word="export",
        does="copy a release in the layout of another tool",
        config="jobs.publish_release:ExportConfig",
        examples=(("out/photos/release/sod-benchmark-1.0.0 --layout yolo --out yolo", "Folders that YOLO trains on"),),
    ),
    *(
        Command(
            name=f"audit {word}",
            script="audit_release",
            word=word,
            does=does,
            config=f"jobs.audit_release:{word.capitalize()}Config",
            examples=((given, what),),
        )
        for word, does, given, what in (
            (
                "plan",
                "draw a sample of a release for people to judge",
                "out/photos/release/sod-benchmark-1.0.0 --images 200 --out audit",
                "Pages for two raters, and what 200 images can prove",
            ),
            ("serve", "serve the pages on which people judge", "audit", "Judge at http://127.0.0.1:8000"),
            (
                "export",
                "write the sample as a task for a labelling tool",
                "audit --to cvat --out task",
                "For whoever has a labelling tool already",
            ),
            (
                "import",
                "read answers from a labelling tool",
                "audit annotations.xml --from cvat --rater rater-1",
                "Take them back",
            ),
            ("adjudicate", "collect where raters differ, for a third look", "audit", "Once every rater is done"),
            ("certify", "state what the answers prove", "audit --dry-run", "Print the certificate, and add nothing"),
        )
    ),
    Command(
        name="evaluate",
        script="evaluate",
        does="measure saliency maps, or a model, against masks",
        config="pipeline.evaluation.config:EvaluationConfig",
        examples=(
            ("--predictions maps --masks masks --out out/measured", "Maps that you already have"),
            ("--release out/photos/release/sod-benchmark-1.0.0 --model nano --out out/nano", "A model on a release"),
        ),
        common=("predictions", "masks", "images", "release", "model", "out"),
    ),
    Command(
        name="leaderboard add",
        script="leaderboard",
        word="add",
        does="add the result of an evaluation to a leaderboard",
        config="jobs.leaderboard:AddConfig",
        examples=(("out/nano --board out/board --name nano", "The first result begins the board"),),
    ),
    Command(
        name="leaderboard render",
        script="leaderboard",
        word="render",
        does="write a leaderboard as a page, Markdown and LaTeX",
        config="jobs.leaderboard:RenderConfig",
        examples=(("out/board", "Write the files into the board's folder"),),
    ),
    Command(
        name="train",
        script="train",
        does="fine-tune the model",
        config="pipeline.training.config:TrainingConfig",
        examples=(
            ("--train-img images --train-gt masks --out out/trained", "Folders of images and masks"),
            ("--train-release out/photos/release/sod-benchmark-1.0.0 --out out/trained", "A release"),
        ),
        common=(
            *("train_img", "train_gt", "train_release", "val_img", "val_gt"),
            *("output_dir", "pretrained_model_name_or_path", "max_train_steps", "train_batch_size", "learning_rate"),
        ),
        short=(("--out", "output_dir"), ("--model", "pretrained_model_name_or_path")),
    ),
    Command(
        name="convert",
        script="convert_checkpoint",
        does="convert the official weights for --model",
        config="jobs.convert_checkpoint:Arguments",
        examples=(
            (
                "--pretrained-model-path sod/unet --swinb-model-path sod/swinb.pth "
                "--stable-diffusion-repo-path stable-diffusion-2 --out official",
                "The official weights as one folder, for --model",
            ),
        ),
    ),
    Command(
        name="distil",
        script="distil_decoder",
        does="distil a mask decoder from a model's VAE",
        config="pipeline.distillation.config:DistillationConfig",
        examples=(("--model official --out out/distilled", "A copy of the model with its mask decoder"),),
    ),
    Command(
        name="bench",
        script="benchmark",
        does="measure speed and memory side by side",
        examples=(("speed --images 8", "Against the reference's way of working"),),
    ),
    Command(
        name="demo",
        script="demo",
        does="run everything on 37 embedded photographs",
        examples=(("", "Results in out/demo"),),
        answers=False,
    ),
    Command(
        name="embedded composites",
        script="make_composites",
        config="jobs.make_composites:Arguments",
        does="make the embedded model's composites",
    ),
    Command(
        name="embedded photographs",
        script="make_photographs",
        config="jobs.make_photographs:Arguments",
        does="make the embedded model's photographs",
    ),
    Command(
        name="embedded train",
        script="train_embedded",
        config="pipeline.embedded.config:EmbeddedTrainingConfig",
        does="train the embedded model",
    ),
    Command(
        name="embedded measure",
        script="measure_embedded",
        config="jobs.measure_embedded:Arguments",
        does="measure the embedded model for its card",
    ),
)

COMMANDS = {command.name: command for command in _LISTED}
"""By name, in the order in which people are shown them."""


def commands_of(script: str) -> dict[str, Command]:
    """The commands of a script, by their words."""
    return {command.word: command for command in _LISTED if command.script == script}
