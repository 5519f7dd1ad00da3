cd /work/data-refine
nice -n 6 python -W ignore r1.py /work/data-lead/hard/spike-clean 1500 > wrong/ex_spike.log 2>&1
nice -n 6 python -W ignore r1.py /work/data-lead/hard/haemoglobin-clean 1500 > wrong/ex_hb.log 2>&1
nice -n 6 python -W ignore r1.py /work/data-lead/hard/groel-clean 1500 > wrong/ex_groel.log 2>&1
