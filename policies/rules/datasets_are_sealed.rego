# Every dataset is ciphertext under a keyset that only the customer's key service can open.
package strongroom.rules.datasets_are_sealed

import data.settings
import data.strongroom.lib

pass if {
	every dataset in lib.datasets {
		sealed(dataset)
	}
}

sealed(dataset) if {
	lib.is_text(dataset.keyset.wrapped)
	lib.is_positive(dataset.keyset.key_id)
	lib.is_digest(dataset.keyset.commitment)
	count(dataset.keyset.context) > 0
	lib.under(dataset.keyset.kms, settings.kms_prefixes)
	lib.is_positive(dataset.shards)
	lib.is_positive(dataset.records)

	# Sealing adds bytes: a dataset no longer than its plaintext is not sealed.
	dataset.ciphertext_bytes > dataset.plaintext_bytes
}

deny contains lib.denial(
	sprintf("spec.data.%v", [name]),
	"sealed shards with a keyset wrapped by your key service",
	sprintf("keyset of %v", [lib.shown(object.get(dataset, "keyset", {}), "kms")]),
	"Seal it with `strongroom seal --key <your key>`",
) if {
	some name, dataset in lib.datasets
	not sealed(dataset)
}
