# The evaluator is known by its digest, and so are the numbers that it may report.
package strongroom.rules.evaluator_is_pinned

import data.strongroom.lib

# What the plan says as the run file says it; ranges and numbers of calls are part of the score.
kept := {"metrics": "metrics", "score_range": "range", "concurrency": "concurrency"}

pass if {
	pinned
	is_array(lib.plan.evaluator.metrics)
	every here, there in kept {
		lib.plan.evaluator[here] == lib.run.evaluator[there]
	}
}

pinned if {
	lib.is_text(lib.plan.evaluator.name)
	lib.is_digest(lib.plan.evaluator.sha256)
	lib.is_positive(lib.plan.evaluator.size_bytes)
	lib.is_positive(lib.plan.evaluator.timeout_s)
}

deny contains lib.denial(
	"spec.evaluator.source",
	"a non-empty file with a SHA-256 and a timeout",
	lib.shown(lib.plan.evaluator, "sha256"),
	"Plan the run again with the evaluator in place",
) if not pinned

deny contains lib.denial(
	concat(".", ["spec.evaluator", there]),
	sprintf("the run file's %v", [lib.shown(lib.run.evaluator, there)]),
	lib.shown(lib.plan.evaluator, here),
	"Plan the run again with this version of strongroom",
) if {
	some here, there in kept
	not lib.plan.evaluator[here] == lib.run.evaluator[there]
}
