# Every dataset's manifest is signed by a key that the customer listed. The signature itself was
# checked when facts were collected and is checked again in the enclave.
package strongroom.rules.datasets_are_signed

import data.settings
import data.strongroom.lib

pass if {
	every dataset in lib.datasets {
		signed(dataset)
	}
}

signed(dataset) if {
	dataset.signer in settings.signers
	lib.is_digest(dataset.manifest_sha256)
}

deny contains lib.denial(
	sprintf("spec.data.%v", [name]),
	"a manifest signed by a key in the policy's signers",
	lib.shown(dataset, "signer"),
	"Seal the dataset with a listed key, or add its public key to the policy's signers",
) if {
	some name, dataset in lib.datasets
	not signed(dataset)
}
