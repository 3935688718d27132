# The evaluator is known by its digest, and so are the numbers that it may report.
package strongroom.rules.evaluator_is_pinned

import data.strongroom.lib

pass if {
	pinned
	is_array(lib.plan.evaluator.metrics)
	lib.plan.evaluator.metrics == lib.run.evaluator.metrics
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
	"spec.evaluator.metrics",
	sprintf("the run file's %v", [lib.shown(lib.run.evaluator, "metrics")]),
	lib.shown(lib.plan.evaluator, "metrics"),
	"Plan the run again with this version of strongroom",
) if not lib.plan.evaluator.metrics == lib.run.evaluator.metrics
