# The plan is about what its run file says: the same prefixes, keys, model and evaluator, reached by
# the roles and endpoints that the file names. So a place in the file is a place in the plan.
package strongroom.rules.plan_follows_run_file

import data.strongroom.lib

# What the plan says, and what the run file says; a part that either lacks agrees with nothing.
pairs := {
	"spec.data.train": {"plan": lib.plan.data.train.uri, "file": lib.run.data.train},
	"spec.data.held_out": {"plan": lib.plan.data.held_out.uri, "file": lib.run.data.held_out},
	"spec.model.base": {"plan": lib.plan.model.uri, "file": lib.run.model.base},
	"spec.model.precision": {"plan": lib.plan.model.precision, "file": precision},
	"spec.evaluator.source": {"plan": source, "file": lib.run.evaluator.source},
	"spec.evaluator.sealed": {"plan": sealed, "file": lib.run.evaluator.sealed},
	"spec.outputs": {"plan": lib.plan.outputs, "file": lib.run.outputs},
	"spec.audit": {"plan": lib.plan.audit, "file": lib.run.audit},
	"spec.keys.data": {"plan": lib.plan.keys.data, "file": lib.run.keys.data},
	"spec.keys.outputs": {"plan": lib.plan.keys.outputs, "file": lib.run.keys.outputs},
	"spec.keys.audit": {"plan": lib.plan.keys.audit, "file": lib.run.keys.audit},
	"apiVersion": {"plan": lib.plan.spec.apiVersion, "file": "strongroom/v1"},
	"kind": {"plan": lib.plan.spec.kind, "file": "TrainingRun"},
	"version": {"plan": lib.plan.version, "file": 1},
}

# `auto` leaves it to the plan.
precision := lib.run.model.precision if lib.run.model.precision != "auto"

precision := lib.plan.model.precision if lib.run.model.precision == "auto"

source := lib.plan.evaluator.name if lib.plan.evaluator.sealed == null

source := null if lib.sealed_evaluator

sealed := null if lib.plan.evaluator.sealed == null

sealed := lib.sealed_evaluator.uri

pass if {
	every pair in pairs {
		pair.plan == pair.file
	}
	every lease in lib.plan.leases {
		named(lease)
	}
}

named(lease) if {
	some entry in lib.run.access
	lib.reaches(entry, lease)
	entry.via == "web-identity"
	lease.endpoint == entry.endpoint
}

deny contains lib.denial(
	path,
	sprintf("%v, as the run file says", [pair.file]),
	lib.shown(pair, "plan"),
	"Plan the run again: the run file has changed since, or the plan",
) if {
	some path, pair in pairs
	pair.plan != pair.file
}

deny contains lib.denial(
	"spec.access",
	"leases by the access entries of the run file",
	sprintf("%v at %v", [lib.shown(lease, "role"), lib.shown(lease, "endpoint")]),
	"Plan the run again: the run file has changed since, or the plan",
) if {
	some lease in lib.plan.leases
	not named(lease)
}
