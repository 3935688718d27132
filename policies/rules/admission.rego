# The decision over all rules. Closed: a run is allowed only when every rule of the bundle's
# manifest gives an explicit pass, or is waived. A rule that is missing, undefined or in error
# gives no pass.
package strongroom.admission

import data.strongroom.rules

default allow := false

# What decides, without any text from the plan; see policies/interpreter.py.
verdict := {"allow": allow, "passed": passed, "explained": explained, "waived": waived}

allow if {
	count(data.manifest.rules) > 0
	every rule in data.manifest.rules {
		settled(rule)
	}
}

settled(rule) if rule.id in passed

settled(rule) if {
	some index in waived
	waivers[index].rule == rule.id
}

passed contains rule.id if {
	some rule in data.manifest.rules
	rules[rule.id]["pass"] == true
	count(rules[rule.id].deny) == 0
}

# Rules that deny with a reason, as opposed to those that give no verdict.
explained contains rule.id if {
	some rule in data.manifest.rules
	not rule.id in passed
	count(rules[rule.id].deny) > 0
}

denied contains denial if {
	some rule in data.manifest.rules
	rule.id in explained
	some reason in rules[rule.id].deny
	denial := object.union(reason, {"rule": rule.id, "control": rule.control})
}

waivers := input.plan.spec.spec.policy.waivers

# Indexes of the waivers that turn a rule's denial into an exception. A waiver needs a denial with
# a reason: a rule that gives no verdict cannot be waived.
waived contains index if {
	some rule in data.manifest.rules
	rule.waivable == true
	rule.id in explained
	some index, waiver in waivers
	waiver.rule == rule.id
	in_force(waiver)
}

in_force(waiver) if {
	regex.match(`^[0-9]{4}-[0-9]{2}-[0-9]{2}$`, waiver.expires)
	regex.match(`^[0-9]{4}-[0-9]{2}-[0-9]{2}$`, input.today)
	input.today <= waiver.expires
	regex.match(`[^ ]`, waiver.owner)
	regex.match(`[^ ]`, waiver.reason)
}

waivable contains rule.id if {
	some rule in data.manifest.rules
	rule.waivable == true
}

# Waivers that do not count, with the reason, so that nobody wonders why.
refused_waivers contains refusal if {
	some waiver in waivers
	not waiver.rule in waivable
	refusal := {"rule": waiver.rule, "reason": "the bundle does not let this rule be waived"}
}

refused_waivers contains refusal if {
	some waiver in waivers
	waiver.rule in waivable
	not in_force(waiver)
	refusal := {"rule": waiver.rule, "reason": "it has expired, or lacks its owner or reason"}
}
