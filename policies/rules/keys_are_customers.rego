# Every key reference is the customer's, and the key service that answered is theirs too.
package strongroom.rules.keys_are_customers

import data.settings
import data.strongroom.lib

names := {"data", "outputs", "audit"}

pass if {
	every name in names {
		lib.under(lib.plan.keys[name], settings.kms_prefixes)
		lib.under(lib.plan.keys[name], lib.plan.facts.kms.prefixes)
	}
	owned
}

owned if {
	lib.is_text(lib.plan.facts.kms.owner)
	count(settings.kms_owners) == 0
}

owned if lib.plan.facts.kms.owner in settings.kms_owners

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
	not lib.under(lib.plan.keys[name], lib.plan.facts.kms.prefixes)
}

deny contains lib.denial(
	"spec.identity.addr",
	sprintf("a key service out of %v", [settings.kms_owners]),
	lib.shown(lib.plan.facts.kms, "owner"),
	"Name your own key service, or add it to the policy's kms_owners",
) if not owned
