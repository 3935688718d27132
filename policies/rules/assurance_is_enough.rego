# The enclave's isolation is at least what the customer demands.
package strongroom.rules.assurance_is_enough

import data.settings
import data.strongroom.lib

rank := {"A0": 0, "A1": 1, "A2": 2, "A3": 3}

pass if rank[lib.run.enclave.assurance] >= rank[settings.min_assurance]

deny contains lib.denial(
	"spec.enclave.assurance",
	sprintf("%v or more", [settings.min_assurance]),
	lib.shown(lib.run.enclave, "assurance"),
	"Raise the assurance; A0 is for debugging on data that is not sensitive",
) if not rank[lib.run.enclave.assurance] >= rank[settings.min_assurance]
