{{/* As it is: what Prometheus is to fill in is not Helm's. */}}
{{- define "printworks.ruleFile" -}}
{{- .Files.Get "files/alerts.yaml" }}
{{- end }}

{{/* Names that can't be left out because they are no alert's, as a list of sentences. */}}
{{- define "printworks.ruleFaults" -}}
{{- $faults := list }}
{{- $alerts := list }}
{{- range (include "printworks.ruleFile" . | fromYaml).groups }}
{{- range .rules }}{{ $alerts = append $alerts (default "" .alert) }}{{ end }}
{{- end }}
{{- range .Values.monitoring.rules.without }}
{{- if not (has . $alerts) }}
{{- $faults = append $faults (printf "monitoring.rules.without names %s, and no alert is called so." .) }}
{{- end }}
{{- end }}
{{- toJson $faults }}
{{- end }}
