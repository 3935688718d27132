# The code in the enclave is measured, and a listed one where the customer lists measurements.
package strongroom.rules.code_is_pinned

import data.settings
import data.strongroom.lib

pass if {
	measured
	listed
}

measured if {
	lib.is_text(lib.plan.code.measurement)
	lib.is_text(lib.plan.code.python)
	count(lib.plan.code.packages) > 0
}

listed if count(settings.measurements) == 0

listed if lib.plan.code.measurement in settings.measurements

deny contains lib.denial(
	"spec.enclave",
	"a measurement of the code, its Python and its packages",
	lib.shown(lib.plan.code, "measurement"),
	"Plan the run again with this version of strongroom",
) if not measured

deny contains lib.denial(
	"spec.enclave",
	"a measurement in the policy's measurements",
	lib.shown(lib.plan.code, "measurement"),
	"Install the version that was approved, or add its measurement to the policy's measurements",
) if not listed
