# Accuracy is measured on data that was not trained on.
package strongroom.rules.held_out_differs

import data.strongroom.lib

fields := {"uri", "name", "manifest_sha256"}

pass if {
	every field in fields {
		differs(field)
	}
}

differs(field) if {
	lib.is_text(lib.plan.data.train[field])
	lib.is_text(lib.plan.data.held_out[field])
	lib.plan.data.train[field] != lib.plan.data.held_out[field]
}

deny contains lib.denial(
	"spec.data.held_out",
	sprintf("another %v than spec.data.train", [field]),
	lib.shown(lib.plan.data.held_out, field),
	"Seal a held-out dataset of its own, from rows that are not in the training set",
) if {
	some field in fields
	not differs(field)
}
