"""The names of the measured methods in records, tables and documents."""

JOINT_TRAINING, AUTO_TRAINING = "joint training", "joint training, l2 auto"
JOINT, JOINT_LATE = "joint", "joint, labels late"
AUTO_JOINT = "joint, l2 auto"
BEST_JOINT = "joint, penalty chosen"
ONE_SHOT, REFINED = "joint, one shot", "joint, refined"
PAPERS_AVERAGE = "average, papers' recipe"
AVERAGE, BEST_AVERAGE = "average, converged", "average, penalty chosen"
AVERAGE_LATE = "average, labels late"
SOLVED = "weighted, solved"
POOLED = "fine-tuning, pooled"
ENSEMBLES = ("ensemble, probabilities", "ensemble, logits")
SOUP = "soup"
NEAREST_MEAN, RANDOM_PROJECTION = "nearest class mean", "random projection"
WIDTHS = (500, 2000, 5000)  # of random projections; RANDOM_PROJECTION is the middle one
PROJECTIONS = tuple(
    RANDOM_PROJECTION if width == 2000 else f"{RANDOM_PROJECTION}, {width}" for width in WIDTHS
)
LAYERS, ANALYTIC = "ridge on several layers (LayUP)", "ridge on features (AFL)"

REFINE = "refine"  # the operator that `joint, refined` is made by
JOINTS = (JOINT, JOINT_LATE, AUTO_JOINT, BEST_JOINT, ONE_SHOT, REFINED, REFINE)
PARAGONS = {JOINT: JOINT_TRAINING, JOINT_LATE: JOINT_TRAINING, AUTO_JOINT: AUTO_TRAINING}
REFERENCES = (JOINT_TRAINING, AUTO_TRAINING, POOLED)  # they see the pooled images
SIMPLE = (NEAREST_MEAN, *PROJECTIONS, LAYERS, ANALYTIC)
FEATURES = "features"  # in the place of a scope, of methods that have none
