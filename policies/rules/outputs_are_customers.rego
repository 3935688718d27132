# The run writes into the customer's buckets only, and there only into its own folder and the log.
package strongroom.rules.outputs_are_customers

import data.settings
import data.strongroom.lib

pass if {
	lib.under(lib.plan.outputs, settings.output_prefixes)
	{prefix | prefix := lib.plan.objects.writes.prefixes[_]} == {lib.run_folder, lib.plan.audit}
	objects_are_there
	every uri in lib.plan.objects.writes.objects {
		startswith(uri, lib.run_folder)
	}
}

# What every run leaves, whatever it trains; a sealed evaluator stays where it is.
always := {"plan.json", "keys.json", "result.json"} | {"evaluator.py" | not lib.sealed_evaluator}

objects_are_there if {
	every name in always {
		concat("", [lib.run_folder, name]) in lib.plan.objects.writes.objects
	}
}

deny contains lib.denial(
	"spec.outputs",
	sprintf("a prefix under one of %v", [settings.output_prefixes]),
	lib.shown(lib.plan, "outputs"),
	"Write into a bucket of your own, or add its prefix to the policy's output_prefixes",
) if not lib.under(lib.plan.outputs, settings.output_prefixes)

deny contains lib.denial(
	"spec.outputs",
	"writes in the run's folder and the audit log only",
	uri,
	"Plan the run again with this version of strongroom",
) if {
	some uri in lib.plan.objects.writes.prefixes
	not uri in {lib.run_folder, lib.plan.audit}
}

deny contains lib.denial(
	"spec.outputs",
	"objects in the run's folder only",
	uri,
	"Plan the run again with this version of strongroom",
) if {
	some uri in lib.plan.objects.writes.objects
	not startswith(uri, lib.run_folder)
}
