"""Distribution matching (Zhao and Bilen, WACV 2023): images whose mean features match those of the real images."""
