# Numbers that leave the enclave could carry at most this many bits of data.
package strongroom.rules.capacity_is_limited

import data.settings
import data.strongroom.lib

pass if limited

limited if {
	# Both bounds together hold for numbers only: Rego orders other types below or above them.
	lib.plan.capacity_bits >= 0
	lib.plan.capacity_bits <= settings.max_capacity_bits
}

deny contains lib.denial(
	"spec.training.steps",
	sprintf("at most %v bits out of the enclave", [settings.max_capacity_bits]),
	sprintf("%v bits", [lib.shown(lib.plan, "capacity_bits")]),
	"Take fewer steps, metrics or checkpoints, or raise the policy's max_capacity_bits",
) if not limited
