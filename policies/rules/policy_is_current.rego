# The plan was made for this bundle: an approved plan does not outlive a change of policy.
package strongroom.rules.policy_is_current

import data.strongroom.lib

pass if current

current if {
	lib.plan.policy.digest == input.bundle.digest
	{id | some id in lib.plan.policy.rules} == {rule.id | some rule in data.manifest.rules}
}

deny contains lib.denial(
	"spec.policy.bundle",
	sprintf("a plan made for bundle %v", [input.bundle.digest]),
	lib.shown(object.get(lib.plan, "policy", {}), "digest"),
	"Plan the run again: the policy has changed since",
) if not current
