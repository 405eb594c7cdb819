{{/* What autoscaling can't do, as a list of sentences. */}}
{{- define "printworks.autoscalingFaults" -}}
{{- $faults := list }}
{{- $keepsOne := false }}
{{- $mayEnd := false }}
{{- range $given := .Values.pools }}
{{- $pool := include "printworks.pool" (list $ $given) | fromJson }}
{{- if and $pool.enabled (not $pool.autoscaling.enabled) }}
{{- $keepsOne = or $keepsOne (gt (int $pool.replicas) 0) }}
{{- else if $pool.enabled }}
{{- $keepsOne = or $keepsOne (gt (int $pool.autoscaling.minReplicas) 0) }}
{{- $mayEnd = or $mayEnd (eq (int $pool.autoscaling.minReplicas) 0) }}
{{- $faults = concat $faults (include "printworks.poolFaults" (list $ $pool) | fromJsonArray) }}
{{- end }}
{{- end }}
{{- if and $mayEnd (not $keepsOne) }}
{{- $faults = append $faults "Every pool may go down to 0 workers, but loads of models wait for any worker, and other servers give no jobs to a server without one: set autoscaling.minReplicas of one pool to 1." }}
{{- end }}
{{- toJson $faults }}
{{- end }}

{{/* Of one pool that has autoscaling: root, pool. */}}
{{- define "printworks.poolFaults" -}}
{{- $root := index . 0 }}
{{- $pool := index . 1 }}
{{- $faults := list }}
{{- with $pool.autoscaling }}
{{- $least := int .minReplicas }}
{{- $most := int .maxReplicas }}
{{- if not $root.Values.monitoring.prometheusAddress }}
{{- $faults = append $faults (printf "Autoscaling of pool %s asks Prometheus: set monitoring.prometheusAddress." $pool.name) }}
{{- end }}
{{- if gt $least $most }}
{{- $faults = append $faults (printf "Pool %s: autoscaling.minReplicas is above maxReplicas." $pool.name) }}
{{- else if and .fallbackReplicas (or (lt (int .fallbackReplicas) $least) (gt (int .fallbackReplicas) $most)) }}
{{- $faults = append $faults (printf "Pool %s: autoscaling.fallbackReplicas is not between minReplicas and maxReplicas." $pool.name) }}
{{- end }}
{{- end }}
{{- toJson $faults }}
{{- end }}
