# Every key is the customer's: so its reference says, and so does the key service that was asked.
package strongroom.rules.keys_are_customers

import data.settings
import data.strongroom.lib

names := {"data", "outputs", "audit"}

pass if {
	every name in names {
		lib.under(lib.plan.keys[name], settings.kms_prefixes)
		lib.plan.facts.kms[name].state == "held"
		owned(lib.plan.facts.kms[name])
	}
}

owned(key) if {
	lib.is_text(key.owner)
	count(settings.kms_owners) == 0
}

owned(key) if key.owner in settings.kms_owners

deny contains lib.denial(
	sprintf("spec.keys.%v", [name]),
	sprintf("a key under one of %v", [settings.kms_prefixes]),
	lib.shown(lib.plan.keys, name),
	"Use a key of your own key service, or add its prefix to the policy's kms_prefixes",
) if {
	some name in names
	not lib.under(lib.plan.keys[name], settings.kms_prefixes)
}

deny contains lib.denial(
	sprintf("spec.keys.%v", [name]),
	"a key that the key service holds",
	lib.shown(lib.plan.keys, name),
	"Create the key, or name one that is there",
) if {
	some name in names
	not lib.plan.facts.kms[name].state in {"held", "refused"}
}

deny contains lib.denial(
	sprintf("spec.keys.%v", [name]),
	"a key that the releaser may use",
	lib.shown(lib.plan.keys, name),
	"Name a key of your own, or let the key's owner grant your releaser its use",
) if {
	some name in names
	lib.plan.facts.kms[name].state == "refused"
}

deny contains lib.denial(
	sprintf("spec.keys.%v", [name]),
	sprintf("a key in a key service out of %v", [settings.kms_owners]),
	lib.shown(object.get(lib.plan.facts.kms, name, {}), "owner"),
	"Name a key of your own key service, or add that service to the policy's kms_owners",
) if {
	some name in names
	not owned(lib.plan.facts.kms[name])
}
